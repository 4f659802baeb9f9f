"""Views of sounds."""
