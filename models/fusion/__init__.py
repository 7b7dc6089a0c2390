"""Image classifiers, of pictures alone or of pictures and text: trained, and exported to the visual slot."""
