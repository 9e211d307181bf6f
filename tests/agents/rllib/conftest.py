"""Everything here needs Ray, which the newest Gymnasium excludes."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("ray") else ["test_*.py"]
