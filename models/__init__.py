"""Training, evaluation and export of the classifiers that the service loads; never imported by `service`."""
