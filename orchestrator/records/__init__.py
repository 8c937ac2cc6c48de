"""Files of records come in here and rows of verdicts go out: JSONL, CSV and Parquet, in flat memory."""
