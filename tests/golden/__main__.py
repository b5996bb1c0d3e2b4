"""Rewrites the golden files: ``make golden``. The commit that does so says why."""

from tests.artifacts.identity import test_fingerprint, test_golden_grids, test_keys
from tests.artifacts.results import test_sql_page

test_fingerprint.write_golden()
test_keys.write_golden()
test_golden_grids.write_golden()
test_sql_page.write_golden()
