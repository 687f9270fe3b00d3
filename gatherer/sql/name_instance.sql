UPDATE instance SET gatherer_id = $1
