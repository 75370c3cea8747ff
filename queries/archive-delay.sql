-- Seconds from the end of the audio to the manifest, median and 95th percentile, by the hour of the end.
-- Where a better recording has replaced a partial one, the later manifest counts.
-- Parameters: year, month, day.
WITH delays AS (
  SELECT
    date_trunc('hour', from_iso8601_timestamp(endedAt)) AS ended_hour,
    date_diff('millisecond', from_iso8601_timestamp(endedAt), from_iso8601_timestamp(archivedAt)) / 1e3 AS seconds
  FROM manifests
  WHERE year = ? AND month = ? AND day = ?
),
ranked AS (
  SELECT
    ended_hour,
    seconds,
    cume_dist() OVER (PARTITION BY ended_hour ORDER BY seconds) AS share
  FROM delays
)
SELECT
  ended_hour,
  count(*) AS recordings,
  min(seconds) FILTER (WHERE share >= 0.5) AS p50_seconds,
  min(seconds) FILTER (WHERE share >= 0.95) AS p95_seconds
FROM ranked
GROUP BY ended_hour
ORDER BY ended_hour
