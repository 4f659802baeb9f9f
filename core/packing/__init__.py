"""Packing: any source written once in a form that is read fast, whole or by position, on any machine."""
