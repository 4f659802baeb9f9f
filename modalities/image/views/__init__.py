"""The view generators of the image modality, and the tensor code they are made of."""
