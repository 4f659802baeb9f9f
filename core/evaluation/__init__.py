"""Measuring what a run learned: evaluators on frozen features, protocols, tables, contact sheets.

An evaluator is blind to modalities: it sees a `FeatureTable` and nothing else.
"""
