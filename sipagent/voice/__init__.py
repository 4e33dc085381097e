"""Who listens to spoken refusals, and how well."""
