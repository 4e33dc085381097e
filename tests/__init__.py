import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in sipagent.__main__, and before numpy is imported
