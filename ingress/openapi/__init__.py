"""The OpenAPI document, made of the route table and the models, and the pages that are made of it."""
