-- Recordings and hours of audio of each instance on each day of a month.
-- Parameters: year, month.
SELECT
  instanceArn,
  day,
  count(*) AS recordings,
  sum(durationMs) / 3.6e6 AS hours
FROM manifests
WHERE year = ? AND month = ?
GROUP BY instanceArn, day
ORDER BY instanceArn, day
