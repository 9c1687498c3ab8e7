-- apply: live
-- The page "what happened lately" reads events by time. No client notices.
CREATE INDEX CONCURRENTLY event_happened_at ON event (happened_at);
