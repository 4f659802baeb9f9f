"""The encoders of the image modality; each normalizes pixels itself."""
