"""``data=table``: files and database tables that people have, by a mapping in YAML, into the search-log contract.

`sources` says which files are read, `loading` brings their rows into DuckDB with exact types, `expressions` judges the
SQL of the mapping, `mapping` settles what each column becomes, `reader` writes the log.
"""
