"""What sampled signals share, be they sensor series or sound: their batch, steps, resampling and pictures.

No plugin: it registers nothing, and modalities build on it.
"""
