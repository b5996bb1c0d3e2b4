"""Source with a known fingerprint; see ``tests/artifacts/identity/test_fingerprint.py``. Never imported."""
