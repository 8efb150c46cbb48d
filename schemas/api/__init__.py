"""What clients send and get, by resource; results of jobs are in `schemas.results`, problems in
`schemas.problems`."""
