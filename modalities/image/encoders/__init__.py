"""The encoders of the image modality; each normalises pixels itself."""
