"""Fine-tuning: an encoder and a small head trained on labels, the epoch chosen on the val part."""
