"""The parts of `gpu_session.py`; each yields its rows, and what measures them."""
