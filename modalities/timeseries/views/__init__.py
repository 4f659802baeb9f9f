"""The views of the time series modality."""
