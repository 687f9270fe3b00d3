SELECT hour, check_name, compared, failed, examples FROM checks WHERE hour >= $1 AND hour < $2 ORDER BY hour, check_name
