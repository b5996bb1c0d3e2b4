"""Source with a known fingerprint; see ``tests/test_fingerprint.py``. Never imported."""
