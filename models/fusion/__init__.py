"""Image classifiers, of pictures alone or of pictures and text together: made, trained and exported to the visual slot."""
