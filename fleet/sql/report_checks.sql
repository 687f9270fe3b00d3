SELECT check_name, sum(compared)::bigint AS compared, sum(failed)::bigint AS failed FROM checks WHERE hour >= $1 AND hour < $2 GROUP BY check_name ORDER BY check_name
