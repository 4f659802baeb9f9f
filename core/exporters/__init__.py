"""Exporters: write a trained model as files for other libraries."""
