"""Evaluation of frozen features: evaluators, protocols, result tables, contact sheets.

An evaluator is independent of modalities: it receives `FeatureTable`s and nothing else.
"""
