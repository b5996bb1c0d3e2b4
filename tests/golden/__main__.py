"""Rewrites the golden files: ``make golden``. The commit that does so says why."""

from tests import test_fingerprint, test_keys

test_fingerprint.write_golden()
test_keys.write_golden()
