SELECT greatest((SELECT coalesce(max(run), 0) FROM runs WHERE lane = $1),
                (SELECT coalesce(max(slice), 0) FROM slices WHERE lane = $1))
