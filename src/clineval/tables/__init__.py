"""Tables as people write them: cells, columns and files, read and checked before anything is scored."""
