"""Sentences on which text encoders and tokenizers are compared with those of other libraries."""

from __future__ import annotations

PAIRS = (
    ("A man is playing a guitar.", "Someone plays the guitar.", 4.6),
    ("Two dogs run over the grass.", "Dogs are running on a lawn.", 4.4),
    ("The child eats an apple.", "A child is eating some fruit.", 3.9),
    ("He bought a new car last week.", "Last week he sold his car.", 2.4),
    ("It rains in the mountains.", "The sun shines at the beach.", 1.2),
    ("A woman reads a book.", "A woman writes a book.", 2.2),
    ("The train is late.", "The train arrives on time.", 1.8),
    ("Cook the rice for ten minutes.", "The satellite reached its orbit.", 0.0),
    ("Ärzte raten zu mehr Bewegung.", "Doctors recommend more exercise.", 4.0),
    ("An old ship lies in the harbour, rusty and empty, since 1987!", "x", 0.2),
)
"""Pairs of sentences with similarities from 0 to 5, on which both models are ranked alike."""
