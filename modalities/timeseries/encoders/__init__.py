"""The encoders of the time series modality."""
