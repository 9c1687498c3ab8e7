"""How the buildmaster is put together: builders, schedulers, roles, sign-in, reporters, services, pages."""
