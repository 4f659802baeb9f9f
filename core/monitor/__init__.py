"""What a training shows and keeps of its course: progress, metrics, the gallery of views."""
