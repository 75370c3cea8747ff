-- The recordings of a contact, and of contacts that a transfer made out of it, in a year.
-- Parameters: contact id in quotes, year.
SELECT
  contactId,
  startedAt,
  endedAt,
  complete,
  trigger,
  recordingUri
FROM manifests
WHERE ? IN (contactId, initialContactId)
  AND year = ?
ORDER BY startedAt, recordingUri
