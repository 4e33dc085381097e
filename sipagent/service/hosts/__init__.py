"""What a host does because there are others, or a store of objects: ship, complete, send, share a board."""
