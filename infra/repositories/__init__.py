"""The domain's records, written once above the documents port: sealing, look-ups and the races of each
record."""
