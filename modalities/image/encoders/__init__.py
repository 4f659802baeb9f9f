"""The encoders of the image modality; each normalizes its input pixels."""
