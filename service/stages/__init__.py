"""The detectors and adjudicators, a file each."""
