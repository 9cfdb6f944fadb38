"""The API below /api/v1. Its OpenAPI is at /api/v1/openapi.json."""
