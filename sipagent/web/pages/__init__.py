"""The pages that people read, by address. Each module lists its addresses in its `…ENTRIES`."""
