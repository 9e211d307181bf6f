"""What studies share: training of their cells, tables, pages, the record of where figures come from."""
