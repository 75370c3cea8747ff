-- The incomplete recordings of a day, and why they are incomplete.
-- Parameters: year, month, day (UTC, when streaming started).
SELECT
  contactId,
  instanceArn,
  startedAt,
  durationMs / 1e3 AS seconds,
  array_join(reasons, '; ') AS reasons,
  recordingUri
FROM manifests
WHERE year = ? AND month = ? AND day = ?
  AND NOT complete
ORDER BY startedAt, contactId
