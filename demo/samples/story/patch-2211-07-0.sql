-- apply: cold
-- Uploads are listed by name.
CREATE INDEX upload_path ON upload (path);
