"""Supervised fine-tuning of an encoder and a small head, with the best epoch chosen on the val part."""
