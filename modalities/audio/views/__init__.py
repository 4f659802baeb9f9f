"""View generators of audio, and the batched augmentations that they are made of."""
