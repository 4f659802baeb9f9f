"""View generators of images, and the batched augmentations that they are made of."""
