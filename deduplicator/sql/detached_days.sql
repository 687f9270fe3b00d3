SELECT day FROM store.detached
