"""What time series and audio share: batches of sampled signals, cropping and resampling, pooling, plots.

No plugin: it registers nothing, and modalities build on it.
"""
